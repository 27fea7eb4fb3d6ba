// A virtio-blk driver: shows what the device is, brings it up by 3.1.1, and reads sector 1 by interrupt. What it found goes
// to the shared memory: MagicValue, Version, DeviceID, InterruptStatus, the used index and the request's status; data at
// 0x3000; last, 1 at 0x20. Then the vCPU switches itself off.
.include "aarch64.inc"
.equ DEVICE, 0x0a003e00
.equ SHMEM, 0xd0000000
.equ INTERRUPT, 79
.equ PSCI_CPU_OFF, 0x84000002
.macro set offset, value
  load x9, \value
  str w9, [x1, #\offset]
.endm
.macro descriptor n, address, length, flags, next
  load x9, \address
  str x9, [x20, #0x1000 + 16 * \n]
  mov w10, #\length
  str w10, [x20, #0x1008 + 16 * \n]
  mov w10, #\flags
  strh w10, [x20, #0x100c + 16 * \n]
  mov w10, #\next
  strh w10, [x20, #0x100e + 16 * \n]
.endm
  load x1, DEVICE
  load x20, SHMEM
  mov w19, #0
  vectors_at vectors
  route_interrupt INTERRUPT
  enable_interrupts
  ldr w2, [x1]
  str w2, [x20]
  ldr w2, [x1, #4]
  str w2, [x20, #4]
  ldr w2, [x1, #8]
  str w2, [x20, #8]
  str wzr, [x1, #0x70]
  set 0x70, 1
  set 0x70, 3
  set 0x24, 1
  set 0x20, 3
  set 0x70, 11
  str wzr, [x1, #0x30]
  set 0x38, 8
  set 0x80, SHMEM + 0x1000
  set 0x90, SHMEM + 0x1100
  set 0xa0, SHMEM + 0x1200
  set 0x44, 1
  set 0x70, 15
  mov x9, #1
  str x9, [x20, #0x2008]
  descriptor 0, SHMEM + 0x2000, 16, 1, 1
  descriptor 1, SHMEM + 0x3000, 512, 3, 2
  descriptor 2, SHMEM + 0x2010, 1, 2, 0
  add x11, x20, #0x1000
  strh wzr, [x11, #0x104]
  dmb ish
  mov w9, #1
  strh w9, [x11, #0x102]
  dmb ish
  str wzr, [x1, #0x50]
1: cbnz w19, 2f
  wfi
  b 1b
2: str w19, [x20, #12]
  ldrh w2, [x11, #0x202]
  str w2, [x20, #16]
  add x12, x20, #0x2000
  ldrb w2, [x12, #0x10]
  str w2, [x20, #20]
  dmb ish
  mov w2, #1
  str w2, [x20, #0x20]
  load x0, PSCI_CPU_OFF
  hvc #0
  b .
irq:
  mrs x3, icc_iar1_el1
  ldr w19, [x1, #0x60]
  str w19, [x1, #0x64]
  msr icc_eoir1_el1, x3
  eret
unexpected: b .
vector_table unexpected, irq
