# As "handler", with the claim register of a PLIC.
.include "riscv64.inc"
  li s1, WINDOW
  li s2, PLIC_CLAIM
  vector_at trap
  li t6, SEIE
  csrw sie, t6
  csrsi sstatus, 2
1: ld a2, 0(s1)
  j 1b
.balign 4
trap:
  lw t0, 0(s2)
  sd t0, 0x60(s1)
  sw t0, 0(s2)
  sret
