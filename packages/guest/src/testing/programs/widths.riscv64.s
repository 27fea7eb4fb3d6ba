# Every integer load, compressed ones too, each followed by a store of the register; then the stores. For ever.
.include "riscv64.inc"
.macro check instruction:vararg
  .option norvc
  li a2, -1
  .option rvc
  \instruction
  .option norvc
  sd a2, 8(a3)
.endm
.option norvc
  li a3, WINDOW
  mv sp, a3
  li a4, 0x8899aabbccddeeff
1:
  check lb a2, 0(a3)
  check lbu a2, 0(a3)
  check lh a2, 0(a3)
  check lhu a2, 0(a3)
  check lw t3, 0(a3)
  mv a2, t3
  sd a2, 8(a3)
  check lwu a2, 0(a3)
  check ld t3, 0(a3)
  mv a2, t3
  sd a2, 8(a3)
  check c.lw a2, 0(a3)
  check c.ld a2, 0(a3)
  check c.lwsp a2, 0(sp)
  check c.ldsp a2, 0(sp)
  lw zero, 0(a3)
  sb a4, 0(a3)
  sh a4, 0(a3)
  sw a4, -4(a3)
  sd a4, -8(a3)
  sd zero, 0(a3)
  .option rvc
  c.sw a4, 0(a3)
  c.sd a4, 0(a3)
  c.swsp a4, 0(sp)
  c.sdsp a4, 0(sp)
  .option norvc
  sd zero, 0(a3)
  sd zero, 0(a3)
  j 1b
