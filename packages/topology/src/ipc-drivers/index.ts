import { type IpcExchangeChoice, ipcExchangeOptions, ipcExchangeSchema } from './exchange.js';

export type { IpcExchangeChoice } from './exchange.js';

/** What comes with Remio for shared memories: what a topology may say of each, one file a driver. */
export const ipcDriverSchemas = [ipcExchangeSchema] as const;

export type IpcDriverFile = ReturnType<(typeof ipcDriverSchemas)[number]['parse']>;

/** A built-in driver of a shared memory and what it is given. */
export type IpcDriverChoice = { readonly type: 'exchange'; readonly options: IpcExchangeChoice };

/** What the driver gets of what the file says. */
export const ipcDriverChoice = (driver: IpcDriverFile): IpcDriverChoice => ({
  type: 'exchange',
  options: ipcExchangeOptions(driver),
});
