# Sleeps with interrupts masked, and loads; unmasks them, and loads the next.
.include "riscv64.inc"
  li s1, WINDOW
  vector_at trap
  enable_interrupts
  csrci sstatus, 2
  wfi
  ld a2, 0(s1)
  csrsi sstatus, 2
  ld a2, 8(s1)
  csrr a2, sstatus
  sd a2, 16(s1)
  j .
.balign 4
trap:
  csrrw t0, STOPEI, zero
  srli t0, t0, 16
  sd t0, 0x60(s1)
  csrr t0, sstatus
  sd t0, 0x68(s1)
  csrr t0, STOPEI
  sd t0, 0x70(s1)
  sret
