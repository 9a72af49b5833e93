"""`python -m amr_tf` is the command `amr`."""

from amr_tf.commands.amr import main

if __name__ == "__main__":
    main()
