"""`python -m amr_tf.sample` is `amr sample`: see `amr_tf.commands.sample`."""

from amr_tf.commands.sample import COMMAND

run = COMMAND.run

if __name__ == "__main__":
    run()
