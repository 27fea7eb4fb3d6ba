// Every load form whose syndrome says all, each followed by a store of the register; then the stores. For ever.
.include "aarch64.inc"
.macro check instruction:vararg
  mov x2, #-1
  \instruction
  str x2, [x1, #8]
.endm
  window x1
  movz x4, #0xeeff
  movk x4, #0xccdd, lsl #16
  movk x4, #0xaabb, lsl #32
  movk x4, #0x8899, lsl #48
  mov x3, #2
1:
  check ldrb w2, [x1]
  check ldrh w2, [x1]
  check ldr w2, [x1]
  check ldr x2, [x1]
  check ldrsb x2, [x1]
  check ldrsb w2, [x1]
  check ldrsh x2, [x1]
  check ldrsh w2, [x1]
  check ldrsw x2, [x1]
  check ldur w2, [x1, #-4]
  check ldr w2, [x1, x3, lsl #2]
  ldr xzr, [x1]
  strb w4, [x1]
  strh w4, [x1]
  str w4, [x1]
  str x4, [x1]
  stur x4, [x1, #-8]
  str xzr, [x1]
  b 1b
