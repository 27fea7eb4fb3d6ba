// As "handler", with the memory-mapped CPU interface of a GICv2.
.include "aarch64.inc"
  window x1
  vectors_at vectors
  load x4, GICC
  mov w9, #0xff
  str w9, [x4, #4]
  mov w9, #1
  str w9, [x4]
  msr daifclr, #2
1: ldr x2, [x1]
  b 1b
irq:
  ldr w3, [x4, #0xc]
  str x3, [x1, #0x60]
  str w3, [x4, #0x10]
  eret
unexpected: b .
vector_table unexpected, irq
