; What the assembler can. The disassembly is in program.txt.
.export main @main
.export core::fmt::write @write     ; names of exports may be any word
.jump_table @table, 0, 123456       ; entries may be anything

main:
    add_imm_64 sp, sp, -16
    store_ind_u64 ra, sp, 8
    load_imm a0, 0x10
loop:   // a branch back, and one forward that needs two bytes
    add_imm_64 a0, a0, -1
    branch_ne_imm a0, 0, @loop
    branch_eq a0, a1, @far
    load_imm ra, &back              # the address for coming back here
    jump @write
back:
    jump_ind t0, &table             ; the first entry of the table that names the label
table:
    ecalli 3
    ecall
    unlikely
    load_imm_64 a1, -0x7fffffffffffffff
    load_imm_jump ra, &back, @write
write:
    store_imm_ind_u32 a0, -4, 0x7fffffff
    store_imm_u8 0x20000, 0
    load_imm_jump_ind a0, ra, 1234, 0
    cmov_nz a0, a1, a2
    move_reg r1, r12
    trap

; Encodings that are not the shortest, or that reach beyond themselves.
    .bytes 33 07 00 00 00           ; zero in three bytes
    .bytes 33 07 05 00
    .bytes c8 ff ff                 ; registers above 12
    .bytes 01 02 03                 ; operands that nobody reads
    .bytes 28 00                    ; an offset of zero in one byte
    .bytes 1e 04                    ; an address that lies in the next instructions
    .bytes 1e
    .bytes 14 00 01
    jump @-100
    jump @0x1000000
    .bytes 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    .bytes 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
far:
    jump_ind ra, 0
    store_imm_u64 0x7, 0            ; ends in an immediate of no bytes
