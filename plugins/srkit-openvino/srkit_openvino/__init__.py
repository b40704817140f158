"""srkit-openvino: OpenVINO as a srkit backend. Imports neither torch nor OpenVINO until a network is built."""

from srkit import Backend, hookimpl, lazy

srkit_api = 1  # the version of srkit's plugin contract this is made for


@hookimpl
def srkit_backends():
    return [
        Backend(
            name="openvino",
            build=lazy("srkit_openvino.runtime:openvino_backend"),
            precisions={"fp32": 1e-5, "bf16": 2e-2},
            summary="Intel's OpenVINO, on the processor; a network is converted once",
            licence="Apache-2.0",
        )
    ]
