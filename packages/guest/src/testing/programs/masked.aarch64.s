// Sleeps with interrupts masked, and loads; unmasks them, and loads the next.
.include "aarch64.inc"
  window x1
  vectors_at vectors
  mov x9, #0xff
  msr icc_pmr_el1, x9
  mov x9, #1
  msr icc_igrpen1_el1, x9
  wfi
  ldr x2, [x1]
  msr daifclr, #2
  ldr x2, [x1, #8]
  mrs x2, daif
  str x2, [x1, #16]
  b .
irq:
  mrs x3, icc_iar1_el1
  str x3, [x1, #0x60]
  mrs x3, daif
  str x3, [x1, #0x68]
  mrs x3, icc_iar1_el1
  str x3, [x1, #0x70]
  mov x3, #40
  msr icc_eoir1_el1, x3
  eret
unexpected: b .
vector_table unexpected, irq
