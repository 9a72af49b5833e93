"""`python -m amr_tf.tune` is `amr tune`: see `amr_tf.commands.tune`."""

from amr_tf.commands.tune import COMMAND

run = COMMAND.run

if __name__ == "__main__":
    run()
