"""`python -m amr_tf.reproduce` is `amr reproduce`: see `amr_tf.commands.reproduce`."""

from amr_tf.commands.reproduce import COMMAND

run = COMMAND.run

if __name__ == "__main__":
    run()
