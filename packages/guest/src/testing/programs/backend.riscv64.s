# A backend with a device of plain registers, 128 words: a read gives what was written last, at first MagicValue, Version
# and DeviceID. A write of 0x50 raises the frontend's interrupt. It ASKs until nothing is pending, then sleeps.
.include "riscv64.inc"
.equ INTERRUPT, 40
.equ FRONTEND_WINDOW, 0x0a003e00
.equ SBI_EID_BAO, 0x08000ba0
.equ HC_REMIO, 2
.equ WRITE, 0
.equ READ, 1
.equ ASK, 2
.equ NOTIFY, 3
.macro remio op
  li a0, 0
  li a2, \op
  li a6, HC_REMIO
  li a7, SBI_EID_BAO
  ecall
.endm
  la s1, registers
  li s2, FRONTEND_WINDOW
  enable_interrupts
  csrci sstatus, 2
  route_interrupt INTERRUPT
ask:
  li a1, 0
  li a3, 0
  li a4, 0
  remio ASK
  bnez a1, sleep
  # addr, op, value, width, id, more: a2 to a7
  mv s3, a2
  mv s4, a6
  sub t0, a2, s2
  andi t0, t0, 0x1fc
  add t1, s1, t0
  li t2, READ
  beq a3, t2, read
  sw a4, 0(t1)
  mv a1, s3
  li a3, 0
  mv a4, s4
  remio WRITE
  li t2, 0x50
  bne t0, t2, ask
  li a1, 0
  li a3, 0
  li a4, 0
  remio NOTIFY
  j ask
read:
  lwu a3, 0(t1)
  mv a1, s3
  mv a4, s4
  remio READ
  j ask
sleep:
  # Interrupts are masked: WFI ends all the same, and a request that came meanwhile has left one pending.
  wfi
  csrrw t0, STOPEI, zero
  j ask
  .balign 8
registers:
  .word 0x74726976, 2, 42
  .zero 512 - 12
