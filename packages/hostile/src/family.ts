/** A request that a healthy device of a family ends with success. */
export interface FamilyRequest {
  /** Buffers that the device reads. */
  readonly readable: readonly Uint8Array[];
  /** Lengths of buffers that the device writes. */
  readonly writable: readonly number[];
  /**
   * Whether the request ended well.
   * @param written bytes that the used element names
   * @param parts what lies in the writable buffers
   */
  good(written: number, parts: readonly Uint8Array[]): boolean;
}

/** What the cases must know of a kind of devices. */
export interface Family {
  readonly name: string;
  /** Device types (5) that belong to it; none: whatever has no family of its own. */
  readonly deviceIds: readonly number[];
  /** Features of the device type that the hostile driver accepts, where they are offered. */
  readonly features: bigint;
  /**
   * Queues that take {@link request}, of so many that the device has.
   * @param queues number of queues that exist
   */
  requestQueues(queues: number): readonly number[];
  request(): FamilyRequest;
  /** Whether {@link FamilyRequest.good} tells a request that was carried out from one that was refused. */
  readonly judges: boolean;
}
