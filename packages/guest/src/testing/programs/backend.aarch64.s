// A backend with a device of plain registers, 128 words: a read gives what was written last, at first MagicValue, Version
// and DeviceID. A write of 0x50 raises the frontend's interrupt. It ASKs until nothing is pending, then sleeps.
.include "aarch64.inc"
.equ INTERRUPT, 40
.equ FRONTEND_WINDOW, 0x0a003e00
.equ HC_REMIO, 0xc6000002
.equ WRITE, 0
.equ READ, 1
.equ ASK, 2
.equ NOTIFY, 3
.macro remio op
  load x0, HC_REMIO
  mov x1, #0
  mov x3, #\op
  hvc #0
.endm
  adr x20, registers
  load x21, FRONTEND_WINDOW
  mov x9, #0xff
  msr icc_pmr_el1, x9
  mov x9, #1
  msr icc_igrpen1_el1, x9
  route_interrupt INTERRUPT
ask:
  mov x2, #0
  mov x4, #0
  mov x5, #0
  remio ASK
  cbnz x0, sleep
  // addr, op, value, width, id, more: x1 to x6
  mov x22, x5
  mov x23, x1
  sub x1, x1, x21
  and x1, x1, #0x1fc
  cmp x2, #READ
  b.eq read
  str w3, [x20, x1]
  mov x24, x1
  mov x2, x23
  mov x4, #0
  mov x5, x22
  remio WRITE
  cmp x24, #0x50
  b.ne ask
  mov x2, #0
  mov x4, #0
  mov x5, #0
  remio NOTIFY
  b ask
read:
  ldr w4, [x20, x1]
  mov x2, x23
  mov x5, x22
  remio READ
  b ask
sleep:
  // Interrupts are masked: WFI ends all the same, and a request that came meanwhile has left one pending.
  wfi
  mrs x3, icc_iar1_el1
  msr icc_eoir1_el1, x3
  b ask
  .balign 8
registers:
  .word 0x74726976, 2, 42
  .zero 512 - 12
