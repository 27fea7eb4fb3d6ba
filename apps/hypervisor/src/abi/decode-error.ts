/** Why a trap cannot be emulated. */
export interface DecodeError {
  readonly reason: string;
  /** Whether it was a store, as far as hardware shows. */
  readonly write: boolean;
}

/** A trapped access, and how far the PC goes when it is done. */
export interface DecodedTrap<Access> {
  readonly access: Access;
  readonly step: 2 | 4;
}
