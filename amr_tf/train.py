"""`python -m amr_tf.train` is `amr train`: see `amr_tf.commands.train`."""

from amr_tf.commands.train import COMMAND

run = COMMAND.run

if __name__ == "__main__":
    run()
