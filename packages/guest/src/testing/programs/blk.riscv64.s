# A virtio-blk driver: shows what the device is, brings it up by 3.1.1, and reads sector 1 by interrupt. What it found goes
# to the shared memory: MagicValue, Version, DeviceID, InterruptStatus, the used index and the request's status; data at
# 0x3000; last, 1 at 0x20. Then the vCPU sleeps.
.include "riscv64.inc"
.equ DEVICE, 0x0a003e00
.equ SHMEM, 0xd0000000
.equ INTERRUPT, 79
.macro set offset, value
  li t0, \value
  sw t0, \offset(s1)
.endm
.macro descriptor n, address, length, flags, next
  li t0, \address
  sd t0, 16 * \n(s3)
  li t0, \length
  sw t0, 16 * \n + 8(s3)
  li t0, \flags
  sh t0, 16 * \n + 12(s3)
  li t0, \next
  sh t0, 16 * \n + 14(s3)
.endm
  li s1, DEVICE
  li s2, SHMEM
  li s3, SHMEM + 0x1000
  li s4, SHMEM + 0x2000
  li s5, 0
  vector_at trap
  route_interrupt INTERRUPT
  enable_interrupts
  lw a0, 0(s1)
  sw a0, 0(s2)
  lw a0, 4(s1)
  sw a0, 4(s2)
  lw a0, 8(s1)
  sw a0, 8(s2)
  sw zero, 0x70(s1)
  set 0x70, 1
  set 0x70, 3
  set 0x24, 1
  set 0x20, 3
  set 0x70, 11
  sw zero, 0x30(s1)
  set 0x38, 8
  set 0x80, SHMEM + 0x1000
  set 0x90, SHMEM + 0x1100
  set 0xa0, SHMEM + 0x1200
  set 0x44, 1
  set 0x70, 15
  li t0, 1
  sd t0, 8(s4)
  descriptor 0, SHMEM + 0x2000, 16, 1, 1
  descriptor 1, SHMEM + 0x3000, 512, 3, 2
  descriptor 2, SHMEM + 0x2010, 1, 2, 0
  sh zero, 0x104(s3)
  fence
  li t0, 1
  sh t0, 0x102(s3)
  fence
  sw zero, 0x50(s1)
1: bnez s5, 2f
  wfi
  j 1b
2: sw s5, 12(s2)
  lhu a0, 0x202(s3)
  sw a0, 16(s2)
  lbu a0, 0x10(s4)
  sw a0, 20(s2)
  fence
  li a0, 1
  sw a0, 0x20(s2)
3: wfi
  j 3b
.balign 4
trap:
  csrrw t1, STOPEI, zero
  lw s5, 0x60(s1)
  sw s5, 0x64(s1)
  sret
