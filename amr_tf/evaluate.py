"""`python -m amr_tf.evaluate` is `amr evaluate`: see `amr_tf.commands.evaluate`."""

from amr_tf.commands.evaluate import COMMAND

run = COMMAND.run

if __name__ == "__main__":
    run()
