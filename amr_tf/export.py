"""`python -m amr_tf.export` is `amr export`: see `amr_tf.commands.export`."""

from amr_tf.commands.export import COMMAND

run = COMMAND.run

if __name__ == "__main__":
    run()
