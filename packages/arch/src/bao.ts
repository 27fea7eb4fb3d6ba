/** Numbers of Bao's hypercall interface (`core/inc/hypercall.h`, `core/inc/remio.h`). */

/** Hypercall ids. */
export const HC_INVAL = 0n;
export const HC_IPC = 1n;
export const HC_REMIO = 2n;

/** Hypercall errors; the guest sees them negated, but for the failed ASK, which answers +HC_E_FAILURE. */
export const HC_E_SUCCESS = 0n;
export const HC_E_FAILURE = 1n;
export const HC_E_INVAL_ID = 2n;
export const HC_E_INVAL_ARGS = 3n;

/** REMIO_HYP_EVENT: the `op` argument of the Remote I/O hypercall; WRITE and READ are also the `op` of a request. */
export const REMIO_HYP_WRITE = 0n;
export const REMIO_HYP_READ = 1n;
export const REMIO_HYP_ASK = 2n;
export const REMIO_HYP_NOTIFY = 3n;

/** `op` of a request. */
export const REQUEST_WRITE = 0;
export const REQUEST_READ = 1;

/** Messages that a CPU's queue holds in the reference (IPI_MAX_EVENTS: queue and descriptor fill one page). */
export const IPI_MAX_EVENTS = 253;
