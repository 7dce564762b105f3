"""What a compiled program reads and writes."""

from benchmarks import hlo, traffic

PROGRAM = """HloModule jit_f, is_scheduled=true

%fused (p: bf16[8,4], q: f32[4]) -> (bf16[8,4], pred[8]) {
  %p = bf16[8,4]{1,0} parameter(0)
  %q = f32[4]{0} parameter(1)
  ROOT %mul.2 = bf16[8,4]{1,0} multiply(%p, %p), metadata={op_name="jit(f)/optimizer/mul"}
}

%body (s: (f32[4])) -> (f32[4]) {
  %s = (f32[4]{0}) parameter(0)
  %g = f32[4]{0} get-tuple-element(%s), index=0
  %copy.1 = f32[4]{0:T(128)} copy(%g)
  ROOT %tuple.1 = (f32[4]{0}) tuple(%copy.1)
}

ENTRY %main (a: bf16[8,4], b: f32[4]) -> bf16[8,4] {
  %a = bf16[8,4]{1,0} parameter(0)
  %b = f32[4]{0} parameter(1)
  %while.1 = (f32[4]{0}) while(%b), condition=%until, body=%body
  %fusion.1 = (bf16[8,4]{1,0}, pred[8]{0}) fusion(%a, %b, %a), kind=kLoop, calls=%fused
  ROOT %out = bf16[8,4]{1,0} get-tuple-element(%fusion.1), index=0
}
"""


def test_bytes_of_results_and_of_each_operand_once():
    total, count = traffic.by_kind(hlo.parse(PROGRAM))
    assert total == {
        "optimizer: clipping, Adam": (8 * 4 * 2 + 8) + 8 * 4 * 2 + 4 * 4,
        "copies and changes of layout": 4 * 4 + 4 * 4,
    }
    assert count == {"optimizer: clipping, Adam": 1, "copies and changes of layout": 1}
