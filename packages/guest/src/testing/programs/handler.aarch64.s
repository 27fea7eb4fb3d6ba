// Loads from the window for ever; its interrupt handler stores the interrupt's number to the window.
.include "aarch64.inc"
  window x1
  vectors_at vectors
  enable_interrupts
1: ldr x2, [x1]
  b 1b
irq:
  mrs x3, icc_iar1_el1
  str x3, [x1, #0x60]
  msr icc_eoir1_el1, x3
  eret
unexpected: b .
vector_table unexpected, irq
