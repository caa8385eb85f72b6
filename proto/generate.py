"""Generate the Python code of the contracts beside them: `python proto/generate.py [DIR]`.

The generated files are committed, so that nobody needs a compiler to run Relais;
tests/contracts/test_generated_code.py generates them again and compares.
"""

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

PROTO = Path(__file__).parent


def generate(out: Path) -> None:
    """Write `*_pb2.py` and `.pyi` for every contract, `*_pb2_grpc.py` for those with a service."""
    sources = sorted(PROTO.glob("relais/**/*.proto"))
    services = [path for path in sources if "\nservice " in path.read_text()]
    mypy_plugin = Path(sys.executable).with_name("protoc-gen-mypy")
    compile_protos(
        sources, f"--python_out={out}", f"--mypy_out=quiet:{out}", f"--plugin={mypy_plugin}"
    )
    compile_protos(services, f"--grpc_python_out={out}")


def compile_protos(sources: list[Path], *options: str) -> None:
    includes = [f"-I{PROTO}", f"-I{files('grpc_tools') / '_proto'}"]
    names = [str(path.relative_to(PROTO)) for path in sources]
    if protoc.main(["protoc", *includes, *options, *names]) != 0:
        sys.exit("protoc failed: see above")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else PROTO)
