/** Console device (5.3). */

/** Feature bits (5.3.3). */
export const VIRTIO_CONSOLE_F_SIZE = 0;
export const VIRTIO_CONSOLE_F_MULTIPORT = 1;
export const VIRTIO_CONSOLE_F_EMERG_WRITE = 2;

/** Virtqueues (5.3.2): those of port 0, then the control queues, then two for each further port. */
export const CONSOLE_CONTROL_RECEIVEQ = 2;
export const CONSOLE_CONTROL_TRANSMITQ = 3;
export const consoleReceiveq = (port: number): number => (port === 0 ? 0 : 2 * port + 2);
export const consoleTransmitq = (port: number): number => consoleReceiveq(port) + 1;
/** The port that a queue belongs to, other than a control queue. */
export const consolePort = (queue: number): number => (queue < 2 ? 0 : (queue >> 1) - 1);

/** Device configuration layout (5.3.4): cols le16, rows le16, max_nr_ports le32, emerg_wr le32. */
export const CONSOLE_CONFIG_COLS = 0;
export const CONSOLE_CONFIG_ROWS = 2;
export const CONSOLE_CONFIG_MAX_NR_PORTS = 4;
export const CONSOLE_CONFIG_EMERG_WR = 8;
export const CONSOLE_CONFIG_SIZE = 12;

/** `struct virtio_console_control` (5.3.6.2): id le32, event le16, value le16; some events are followed by data. */
export const CONSOLE_CONTROL_SIZE = 8;
export const CONSOLE_CONTROL_ID = 0;
export const CONSOLE_CONTROL_EVENT = 4;
export const CONSOLE_CONTROL_VALUE = 6;

/** Events of control messages (5.3.6.2). */
export const VIRTIO_CONSOLE_DEVICE_READY = 0;
export const VIRTIO_CONSOLE_DEVICE_ADD = 1;
export const VIRTIO_CONSOLE_DEVICE_REMOVE = 2;
export const VIRTIO_CONSOLE_PORT_READY = 3;
export const VIRTIO_CONSOLE_CONSOLE_PORT = 4;
export const VIRTIO_CONSOLE_RESIZE = 5;
export const VIRTIO_CONSOLE_PORT_OPEN = 6;
export const VIRTIO_CONSOLE_PORT_NAME = 7;

/** `struct virtio_console_resize` (5.3.6.2), after a RESIZE message: cols le16, rows le16. */
export const CONSOLE_RESIZE_SIZE = 4;
