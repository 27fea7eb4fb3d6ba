// Loads from its own memory 5000 times between two loads from the window.
.include "aarch64.inc"
  window x1
  adr x4, .
1: ldr x2, [x1]
  mov x3, #5000
2: ldrb w2, [x4]
  subs x3, x3, #1
  b.ne 2b
  b 1b
