"""`python -m amr_tf.serve` is `amr serve`: see `amr_tf.commands.serve`."""

from amr_tf.commands.serve import COMMAND

run = COMMAND.run

if __name__ == "__main__":
    run()
