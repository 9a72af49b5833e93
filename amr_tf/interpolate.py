"""`python -m amr_tf.interpolate` is `amr interpolate`: see `amr_tf.commands.interpolate`."""

from amr_tf.commands.interpolate import COMMAND

run = COMMAND.run

if __name__ == "__main__":
    run()
