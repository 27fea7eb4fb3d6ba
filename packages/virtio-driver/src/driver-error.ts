/** Why a driver gave up, or why a request failed: the device's doing, or the configuration's. */
export interface DriverError {
  readonly code:
    | 'no-device'
    | 'wrong-device'
    | 'reset-timeout'
    | 'features'
    | 'queue'
    | 'memory'
    | 'needs-reset'
    | 'timeout'
    | 'config';
  /** Section of VirtIO 1.4. */
  readonly clause: string;
  readonly detail: string;
}

export const driverError = (code: DriverError['code'], clause: string, detail: string): DriverError => ({
  code,
  clause,
  detail,
});
