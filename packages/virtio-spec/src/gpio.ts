import { layout } from './layout.js';

/** GPIO device (5.18). */

/** Device type (5.18.1). */
export const DEVICE_ID_GPIO = 41;

/** Virtqueues (5.18.2). The event queue is there with VIRTIO_GPIO_F_IRQ only. */
export const GPIO_REQUESTQ = 0;
export const GPIO_EVENTQ = 1;

/** Feature bits (5.18.3). */
export const VIRTIO_GPIO_F_IRQ = 0;

/** `virtio_gpio_config` (5.18.4): ngpio le16, padding, gpio_names_size le32. */
export const GPIO_CONFIG_NGPIO = 0;
export const GPIO_CONFIG_NAMES_SIZE = 4;
export const GPIO_CONFIG_SIZE = 8;

/** Requests (5.18.6). The response is a status and a value, a byte each; of names, a status and the names. */
export const GPIO_REQUEST = layout({ type: 'u16', gpio: 'u16', value: 'u32' });
export const GPIO_RESPONSE_SIZE = 2;

export const VIRTIO_GPIO_MSG_GET_LINE_NAMES = 1;
export const VIRTIO_GPIO_MSG_GET_DIRECTION = 2;
export const VIRTIO_GPIO_MSG_SET_DIRECTION = 3;
export const VIRTIO_GPIO_MSG_GET_VALUE = 4;
export const VIRTIO_GPIO_MSG_SET_VALUE = 5;
export const VIRTIO_GPIO_MSG_SET_IRQ_TYPE = 6;

export const VIRTIO_GPIO_STATUS_OK = 0;
export const VIRTIO_GPIO_STATUS_ERR = 1;

export const VIRTIO_GPIO_DIRECTION_NONE = 0;
export const VIRTIO_GPIO_DIRECTION_OUT = 1;
export const VIRTIO_GPIO_DIRECTION_IN = 2;

export const VIRTIO_GPIO_IRQ_TYPE_NONE = 0;
export const VIRTIO_GPIO_IRQ_TYPE_EDGE_RISING = 1;
export const VIRTIO_GPIO_IRQ_TYPE_EDGE_FALLING = 2;
export const VIRTIO_GPIO_IRQ_TYPE_EDGE_BOTH = 3;
export const VIRTIO_GPIO_IRQ_TYPE_LEVEL_HIGH = 4;
export const VIRTIO_GPIO_IRQ_TYPE_LEVEL_LOW = 8;

/** Events (5.18.7): the line as le16; the response is a status byte. */
export const GPIO_IRQ_REQUEST_SIZE = 2;
export const GPIO_IRQ_RESPONSE_SIZE = 1;
export const VIRTIO_GPIO_IRQ_STATUS_INVALID = 0;
export const VIRTIO_GPIO_IRQ_STATUS_VALID = 1;
