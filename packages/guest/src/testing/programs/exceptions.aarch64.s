// What is no instruction, no register or no address here; the handler stores ESR, FAR and how far ELR is from the start.
.include "aarch64.inc"
start:
  window x1
  vectors_at vectors
  mov x3, #1
  lsl x3, x3, #48
  .inst 0x00000000
  mrs x2, sctlr_el1
  msr s3_0_c0_c0_5, x2 // MPIDR_EL1, read-only
  ldr x2, [x3]
  strb w2, [x3, #1]
  fmov d0, d1
  ldr d0, [x1]
  ldxr x2, [x1]
  ldp x2, x5, [x1]
  stp x2, x5, [x1]
  ldr x2, [x1], #8
  msr spsr_el1, xzr
  eret
  b .
sync:
  mrs x10, esr_el1
  str x10, [x1, #8]
  mrs x10, far_el1
  str x10, [x1, #16]
  mrs x10, elr_el1
  adr x11, start
  sub x11, x10, x11
  str x11, [x1, #24]
  add x10, x10, #4
  msr elr_el1, x10
  eret
unexpected: b .
vector_table sync, unexpected
