"""What the command modules share: how they start, and errors in one sentence."""

import sys

from absl import app, flags, logging

from amr_tf.training.flagfiles import expand_flagfiles


def run(main):
    """Runs a command: `main(argv)`; what the user got wrong is told in one line, exit code 2."""

    def guarded(argv):
        if len(argv) > 1:
            _fail(f"Arguments are flags, --name=value; got '{argv[1]}'.")
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # Other libraries' progress is not ours.
        try:
            return main(argv)
        except (ValueError, OSError) as error:
            _fail(str(error))
        except KeyboardInterrupt:
            _fail("interrupted.", code=130)

    try:
        argv = [sys.argv[0], *expand_flagfiles(sys.argv[1:])]
    except ValueError as error:
        _fail(str(error))
    app.run(guarded, argv=argv)


def _fail(message, code=2):
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
