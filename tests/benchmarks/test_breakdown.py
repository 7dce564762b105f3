"""Where the time of a profile goes: of programs and traces in the forms of a CPU and of a GPU."""

from collections import Counter

import jax
import jax.numpy as jnp
import pytest
from quick import quick_jit

from benchmarks import breakdown, hlo

# As jax.stages.Compiled.as_text() writes it.
CPU = """HloModule jit_f, is_scheduled=true

FileNames
1 "training/program.py"

%fused_computation.1 (param_0.1: f32[8]) -> f32[8] {
  %param_0.1 = f32[8]{0} parameter(0)
  %sqrt.1 = f32[8]{0} sqrt(%param_0.1), metadata={op_name="jit(f)/while/body/optimizer/sqrt"}
  ROOT %add.9 = f32[8]{0} add(%sqrt.1, %param_0.1), metadata={op_name="jit(f)/while/body/optimizer/add"}
}

%fused_computation.2 (param_0.2: f32[8]) -> (f32[8], f32[2]) {
  %param_0.2 = f32[8]{0} parameter(0)
  %sub.1 = f32[8]{0} subtract(%param_0.2, %param_0.2), metadata={op_name="jit(f)/while/body/average/sub"}
  %mul.2 = f32[2]{0} multiply(%a, %a), metadata={op_name="jit(f)/while/body/optimizer/mul"}
  %neg.2 = f32[64]{0} negate(%a)
  ROOT %tuple.1 = (f32[8]{0}, /*index=1*/f32[2]{0}) tuple(%sub.1, %mul.2)
}

ENTRY %main.3 (a: f32[2]) -> f32[2] {
  %conv.1 = f32[2]{0} convolution(%a, %b), metadata={op_name="jit(f)/jvp(Net)/down_0/conv_0/conv"}
  %conv.2 = f32[2]{0} convolution(%a), metadata={op_name="jit(f)/transpose(jvp(Net))/conv_0/conv"}
  %while.3 = f32[2]{0} while(%a), metadata={op_name="jit(f)/jvp(Net)/_bernoulli/while"}
  %add.4 = f32[2]{0} add(%a, %a), metadata={op_name="jit(f)/jvp(Net)/_bernoulli/while/add"}
  %sqrt_add_fusion = f32[8]{0} fusion(%a), kind=kLoop, calls=%fused_computation.1, metadata={op_name="jit(f)"}
  %sub_fusion = (f32[8]{0}, f32[2]{0}) fusion(%a), kind=kLoop, calls=%fused_computation.2, metadata={op_name="jit(f)/optimizer/mul"}
  ROOT %multiply.5 = f32[2]{0} multiply(%a, %a), metadata={op_name="jit(f)/mul"}
}
"""  # noqa: E501

GPU = """HloModule jit_f, is_scheduled=true

%fused_swish (param_0.1: bf16[128,32,32,128]) -> bf16[128,32,32,128] {
  %param_0.1 = bf16[128,32,32,128]{3,2,1,0} parameter(0)
  %logistic.1 = bf16[128,32,32,128]{3,2,1,0} logistic(%param_0.1), metadata={op_name="jit(f)/jvp(Net)/unit_0/jit(silu)/logistic" stack_frame_id=3}
  ROOT %mul.1 = bf16[128,32,32,128]{3,2,1,0} multiply(%logistic.1, %param_0.1), metadata={op_name="jit(f)/jvp(Net)/unit_0/jit(silu)/mul" stack_frame_id=3}
}

%fused_adam (param_0.2: f32[3,3,128,128]) -> f32[3,3,128,128] {
  %param_0.2 = f32[3,3,128,128]{3,2,1,0} parameter(0)
  ROOT %mul.2 = f32[3,3,128,128]{3,2,1,0} multiply(%param_0.2, %param_0.2), metadata={op_name="jit(f)/optimizer/mul" stack_frame_id=9}
}

%gemm_fusion_dot.1_computation (p: bf16[128,128]) -> bf16[128,128] {
  %p = bf16[128,128]{1,0} parameter(0)
  ROOT %dot.7 = bf16[128,128]{1,0} dot(%p, %p), metadata={op_name="jit(f)/jvp(Net)/unit_0/embedding/dot_general"}
}

%command_buffer (p.1: f32[3,3,128,128]) -> f32[3,3,128,128] {
  %p.1 = f32[3,3,128,128]{3,2,1,0} parameter(0)
  ROOT %loop_multiply_fusion.4 = f32[3,3,128,128]{3,2,1,0} fusion(%p.1), kind=kLoop, calls=%fused_adam, metadata={op_name="jit(f)"}
}

ENTRY %main (p.2: bf16[128,32,32,128]) -> f32[3,3,128,128] {
  %cudnn-conv.3 = (bf16[128,32,32,128]{3,2,1,0}, u8[0]{0}) custom-call(%p.2, %w), window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_o01i->b01f, custom_call_target="__cudnn$convForward", metadata={op_name="jit(f)/jvp(Net)/unit_0/conv_0/conv_general_dilated" stack_frame_id=4}
  %cudnn-conv-bw-filter.1 = (bf16[128,3,3,128]{3,2,1,0}, u8[64]{0}) custom-call(%p.2, %p.2), custom_call_target="__cudnn$convBackwardFilter", metadata={op_name="jit(f)/transpose(jvp(Net))/unit_0/conv_0/conv_general_dilated"}
  %loop_multiply_fusion = bf16[128,32,32,128]{3,2,1,0} fusion(%cudnn-conv.3), kind=kLoop, calls=%fused_swish, metadata={op_name="jit(f)/jvp(Net)/unit_0/jit(silu)/mul"}
  %gemm_fusion_dot.1 = bf16[128,128]{1,0} fusion(%p.2), kind=kCustom, calls=%gemm_fusion_dot.1_computation
  %copy.5 = f32[] copy(%q)
  ROOT %call.8 = f32[3,3,128,128]{3,2,1,0} call(%p.2), to_apply=%command_buffer
}
"""  # noqa: E501


def of_cpu(name):
    return {"ph": "X", "pid": 1, "tid": 2, "name": name, "dur": 2.0, "args": {"hlo_op": name}}


def test_on_a_cpu_a_fusion_is_what_most_of_it_is():
    names = ["conv.1", "conv.2", "while.3", "add.4", "add.4", "sqrt_add_fusion", "sub_fusion"]
    events = [of_cpu(name) for name in [*names, "multiply.5", "unknown.6"]]
    events.append({"ph": "X", "pid": 1, "tid": 1, "name": "python", "dur": 100.0})
    assert breakdown.busy_time(events, CPU) == {
        "random numbers (noise, dropout)": 4.0,  # two additions, and not the loop that holds them
        "other": 4.0,  # a multiplication of the step's own, and what the program does not have
        "convolutions, forward": 2.0,
        "convolutions, gradient": 2.0,
        "optimizer: clipping, Adam": 2.0,
        "average of the parameters": 2.0,  # eight elements of the average, two of the optimizer
    }


def named(kind, pid, tid, name):
    return {"ph": "M", "name": f"{kind}_name", "pid": pid, "tid": tid, "args": {"name": name}}


def of_gpu(name, hlo_op, dur, tid=14):
    args = {"hlo_op": hlo_op, "hlo_module": "jit_f", "correlation_id": 7}
    return {"ph": "X", "pid": 1, "tid": tid, "name": name, "dur": dur, "args": args}


LINES = [
    named("process", 1, 0, "/device:GPU:0 NVIDIA H200"),
    named("process", 2, 0, "/host:CPU"),
    named("thread", 1, 14, "Stream #14(Compute)"),
    named("thread", 1, 15, "Stream #15(MemcpyD2D)"),
    named("thread", 1, 30, "XLA Ops"),
    named("thread", 2, 40, "python3"),
]


def test_on_a_gpu_kernels_are_counted_once_by_what_is_fused():
    events = [
        *LINES,
        of_gpu("sm90_xmma_fprop_implicit_gemm_bf16", "cudnn-conv.3", 40.0),
        of_gpu("cudnn::ops::nchwToNhwcKernel", "cudnn-conv-bw-filter.1", 30.0),
        of_gpu("loop_multiply_fusion", "loop_multiply_fusion", 20.0),
        of_gpu("gemm_fusion_dot_1", "gemm_fusion_dot.1", 10.0),
        # In a CUDA graph: what holds the graph is named, and the kernel says what it is.
        of_gpu("loop_multiply_fusion_4", "call.8", 8.0),
        of_gpu("sm90_xmma_wgrad_implicit_gemm_bf16", "call.8", 7.0),
        of_gpu("nvjet_hsh_128x128_64x4", "call.8", 6.0),
        of_gpu("MemcpyD2D", "copy.5", 5.0, tid=15),
        of_gpu("an_unknown_kernel", "", 4.0),
        # The same again: by instruction, and as the host's launches.
        of_gpu("cudnn-conv.3", "cudnn-conv.3", 40.0, tid=30),
        of_gpu("cuLaunchKernel", "loop_multiply_fusion", 9.0, tid=40) | {"pid": 2},
    ]
    assert breakdown.busy_time(events, GPU) == {
        "convolutions, forward": 40.0,
        "convolutions, gradient": 37.0,
        "group norm, activations, sums; forward": 20.0,
        "matrix products": 16.0,
        "optimizer: clipping, Adam": 8.0,
        "copies and changes of layout": 5.0,
        "other": 4.0,
    }


@pytest.mark.parametrize(
    "shape, count",
    [("f32[]", 1), ("bf16[8,4]{1,0:T(8,128)}", 32), ("(f32[3], (u8[0], s32[2]))", 5)],
)
def test_elements_of_a_shape(shape, count):
    assert hlo.elements(shape) == count


def test_the_program_of_this_version_of_jax_is_read():
    """Nothing in it is of no known kind but what has no scope."""

    @quick_jit
    def step(p, x):
        with jax.named_scope("optimizer"):
            p = p - jnp.sqrt(p) * x
        with jax.named_scope("average"):
            mean = p + 0.1 * (x - p)
        return p, mean, jnp.sin(x) @ jnp.cos(x)

    compiled = step.lower(jnp.ones((8, 8)), jnp.ones((8, 8))).compile()
    program = hlo.parse(compiled.as_text())
    kinds = Counter(breakdown.kind_of(i, program) for i in program.named.values())
    assert kinds["optimizer: clipping, Adam"] and kinds["average of the parameters"]
    assert kinds["matrix products"]
    (product,) = [i for i in program.named.values() if i.what == "dot"]
    assert product.elements == 64 and product.origin.endswith("dot_general")
