// Loads from the window. Of a fault it stores the syndrome and the address; then it stores 1, and begins again.
.include "aarch64.inc"
  window x1
  vectors_at vectors
1: ldr x2, [x1]
  mov x3, #1
  str x3, [x1, #0x18]
  b 1b
sync:
  mrs x3, esr_el1
  str x3, [x1, #8]
  mrs x3, far_el1
  str x3, [x1, #0x10]
  mrs x3, elr_el1
  add x3, x3, #4
  msr elr_el1, x3
  eret
unexpected: b .
vector_table sync, unexpected
