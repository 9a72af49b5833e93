"""Bad flags of every command, and how they are run: in forks, without TensorFlow's import each."""

import pathlib
import tempfile

from tests import forked

TIMEOUT = 120
# Of every command: what absl refuses, what flagfiles are refused for, and arguments.
EVERYWHERE = [
    ["--no_such_flag=1"],
    ["--flagfile=nowhere.cfg"],
    ["--flagfile=."],
    ["--flagfile=loop.cfg"],
    ["--flagfile=debugger.cfg"],
    ["--flagfile=" + "x" * 5000],
    ["--flagfile"],
    ["--verbosity=loud"],
    ["an argument"],
    ["--", "an argument"],
]
# Call strings of `train`.
CALLS = [
    ("mixer", ""),
    ("mixer", "("),
    ("mixer", "gaussian(sigma=1e999)"),
    ("mixer", "gaussian(sigma=nan)"),
    ("mixer", "gaussian(sigma=-1)"),
    ("mixer", "gaussian(sigma=" + "(" * 150 + ")" * 150 + ")"),
    ("mixer", "gaussian(sigma=" + "-" * 5000 + "1)"),
    ("mixer", "gaussian(sigma=" + "1" * 5000 + ")"),
    ("mixer", "gaussian(sigma=0x" + "f" * 5000 + ")"),
    ("mixer", "gaussian(sigma=" + "x" * 20_000 + ")"),
    ("mixer", "gaussian(sigma='\\d')"),
    ("mixer", "gaussian(sigma=1is 2)"),
    ("mixer", "mixup(k=1000000000000000000000000000000)"),
    ("mixer", "composite(mixers=3)"),
    ("mixer", "composite(mixers=('mixup', 3))"),
    ("mixer", "composite(weights=('a', 'b'))"),
    ("mixer", "composite(mixers=('composite(mixers=(\"x\",))',))"),
    ("mixer", "mixup\x1b[2J(é=1)"),
    ("method", "vae(kl_weight=1e999)"),
    ("method", "amr(__class__=1)"),
    ("method", "supervised_amr(label_mixer=3)"),
    ("method", "supervised_amr(label_mixer=None)"),
    ("method", "supervised_amr(label_mixer=supervised_bernoulli(hidden_units=5))"),
    ("dataset", "digits()()"),
    ("dataset", "image_folder(crop=-3)"),
    ("dataset", "dsprites_attributes(attributes=3)"),
    ("architecture", "convolutional(depth=-1)"),
    ("architecture", "convolutional(depth=1000000000000000000000000000000)"),
    ("architecture", "convolutional(latent_dim={1: 2})"),
    ("architecture", "mlp(hidden=(0,))"),
    ("probe", "mlp(hidden=())"),
    ("gan_loss", "least_squares(x=1)"),
    ("autoencoder_optimizer", "adam_l2(learning_rate=1e999)"),
    ("autoencoder_optimizer", "adam(learning_rate=1e999)"),
    ("autoencoder_optimizer", "adam(learning_rate='x')"),
    ("autoencoder_optimizer", "adam(clipnorm='x')"),
    ("discriminator_optimizer", "adam(learning_rate=cosine_decay())"),
    ("probe_optimizer", "adam(learning_rate=__import__('os'))"),
]
OWN = {
    "train": [
        ["--mixer=mixupp"],
        ["--dataset=mnits"],
        ["--k=two"],
        ["--k=0"],
        ["--k=" + "9" * 30],
        ["--seed=" + "9" * 30],
        ["--seed=-1"],
        ["--lambda=nan"],
        ["--lambda=1e400"],
        ["--validation_fraction=nan"],
        ["--image_size=0"],
        ["--method=acai", "--k=3"],
        *([f"--{field}={call}"] for field, call in CALLS),
        ["--run_dir="],
        ["--run_dir=" + "x" * 5000],
        ["--run_dir=a\nb"],
        ["--run_dir=file.txt"],
        ["--run_dir=/proc/nowhere"],
        ["--run_dir=nowhere", "--resume"],
        ["--run_dir=hostile", "--resume"],
        ["--run_dir=deep", "--resume"],
        ["--dataset=image_folder", "--data_dir=~no_such_user"],
        ["--dataset=image_folder", "--data_dir=bomb"],
        ["--dataset=mnist", "--data_dir=nowhere"],
        ["--strategy=multi_worker"],
    ],
    "tune": [
        [],
        ["--search=k"],
        ["--search=k:x"],
        ["--search=k:5..2"],
        ["--search=lambda:nan"],
        ["--search=k:2", "--search=k:3"],
        ["--search=mixer.sigma:0.1..1"],
        ["--search=mixer.sgima:0.1,0.2"],
        ["--search=mixer:gaussian(sigma=1e999)"],
        ["--search=k:2,3", "--oracle=gird"],
        ["--search=k:2,3", "--executions=0"],
        ["--search=k:2,3", "--max_trials=-1"],
        ["--search=k:2,3", "--out=file.txt"],
        ["--search=lambda:1..2"],
    ],
    "evaluate": [
        [],
        ["--run="],
        ["--run=nowhere"],
        ["--run=file.txt"],
        ["--run=hostile"],
        ["--run=deep"],
        ["--run=empty"],
        ["--run=empty", "--epoch=last"],
    ],
    "interpolate": [
        [],
        ["--run=,"],
        ["--run=nowhere"],
        ["--run=empty", "--kind=circle"],
        ["--run=empty", "--steps=1"],
        ["--run=empty", "--out=a.svg"],
        ["--run=empty", "--kind=codes", "--out=a.gif"],
        ["--run=empty,empty"],
        ["--run=hostile"],
    ],
    "reproduce": [
        [],
        ["--table=x", "--dataset=mnist"],
        ["--table=9", "--dataset=mnist"],
        ["--table=1", "--dataset=../mnist"],
        ["--table=1", "--dataset=mnist", "--runs=0"],
        ["--table=1", "--dataset=mnist", "--lambdas=nan", "--dry_run"],
        ["--table=1", "--dataset=mnist", "--lambdas=x"],
        ["--table=1", "--dataset=mnist", "--methods=gan"],
        ["--table=1", "--dataset=mnist", "--epochs=-1", "--dry_run"],
        ["--table=1", "--dataset=mnist", "--configs=nowhere"],
        ["--table=1", "--dataset=mnist", "--k=3"],
    ],
    "export": [
        [],
        ["--run=nowhere"],
        ["--run=empty"],
        ["--run=empty", "--formats=pickle"],
        ["--run=empty", "--keep=0"],
        ["--run=empty", "--out=file.txt"],
        ["--run=hostile", "--epoch=last"],
    ],
    "serve": [
        [],
        ["--model=nowhere"],
        ["--model=empty", "--port=0"],
        ["--model=empty", "--port=70000"],
        ["--model=empty", "--port=0", "--version=0"],
        ["--model=empty", "--port=0", "--host=no.such.host.invalid"],
        ["--model=savedmodel", "--port=0"],
    ],
}
CASES = [(name, case) for name, own in OWN.items() for case in [*EVERYWHERE, *own]]


def prepare(folder):
    """The files that the cases name."""
    (folder / "file.txt").write_text("no folder")
    (folder / "loop.cfg").write_text("--flagfile=loop.cfg\n")
    (folder / "debugger.cfg").write_text("--run_with_pdb\n")
    states = {
        "hostile": ('{"dataset": "digits"}', '{"checkpoint": "../../x.keras", "step": 1}'),
        "deep": ("[" * 100_000, "[" * 100_000),
        "empty": ("{}", None),
    }
    for name, (config, state) in states.items():
        (folder / name / "checkpoints").mkdir(parents=True)
        (folder / name / "config.json").write_text(config)
        if state is not None:
            (folder / name / "checkpoints" / "state.json").write_text(state)
    (folder / "hostile" / "checkpoints" / "best.keras").write_bytes(b"PK\x05\x06" + b"\0" * 18)
    (folder / "bomb").mkdir()
    header = b"\x00\x00\xea\x60\x00\x00\xea\x60\x08\x00\x00\x00\x00\x8c\x32\x8b\x5c"
    (folder / "bomb" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR" + header)
    (folder / "savedmodel" / "1").mkdir(parents=True)
    (folder / "savedmodel" / "1" / "saved_model.pb").write_bytes(b"\x80\x04\x95pickle")


def run_cases(cases):
    """The results of cases, dictionaries of "code", "out" and "err", in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(pathlib.Path(folder))
        return [
            dict(
                zip(
                    ("code", "out", "err"),
                    forked.run(f"amr_tf.{name}", *flags, cwd=folder, timeout=TIMEOUT),
                )
            )
            for name, flags in cases
        ]


def what_is_wrong(result):
    """Why a result is not one clear line with exit code 2; None if it is."""
    lines = [line for line in result["err"].splitlines() if not _before_anything(line)]
    if result["code"] != 2:
        return f"exit code {result['code']}: {' / '.join(lines)[-600:]}"
    if len(lines) != 1 or not lines[0].startswith("error: ") or len(lines[0]) < 20:
        return f"not one line: {lines}"
    return None


def _before_anything(line):
    """What TensorFlow's C++ part writes to standard error by itself, and the device's line."""
    return (
        line.startswith(("WARNING: All log messages before absl", "Device: "))
        or line[:1] in "IWEF"
        and (line[1:5].isdigit() and ".cc:" in line)
    )
