// Sets its timer to 1000 and sleeps; the interrupt handler stores the timer's interrupt to the window.
.include "aarch64.inc"
  window x1
  vectors_at vectors
  enable_interrupts
  mov x2, #1000
  msr cntv_cval_el0, x2
  mov x2, #1
  msr cntv_ctl_el0, x2
1: wfi
  b 1b
irq:
  mrs x3, icc_iar1_el1
  str x3, [x1, #0x60]
  msr cntv_ctl_el0, xzr
  msr icc_eoir1_el1, x3
  eret
unexpected: b .
vector_table unexpected, irq
