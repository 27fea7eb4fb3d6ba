// Calls with 11 to 17 in x0 to x6, and stores what it finds there afterwards to the window.
.include "aarch64.inc"
  window x9
1: mov x0, #11
  mov x1, #12
  mov x2, #13
  mov x3, #14
  mov x4, #15
  mov x5, #16
  mov x6, #17
  hvc #0
  str x0, [x9]
  str x1, [x9, #8]
  str x2, [x9, #16]
  str x3, [x9, #24]
  str x4, [x9, #32]
  str x5, [x9, #40]
  str x6, [x9, #48]
  b 1b
