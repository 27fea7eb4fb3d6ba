// Prints what the VMs of a platform report, one JSON object per line: watch-reports.mjs ENDPOINT [DIRECTORY OF KEYS]
import { observerKeys } from '@remio/hypervisor';
import { Connection } from '@remio/transport';

const [endpoint = '', directory] = process.argv.slice(2);
const keys = directory === undefined ? undefined : observerKeys(directory);
if (keys?.ok === false) {
  console.error(keys.error);
  process.exit(2);
}
const handler = {
  onRecords: () => {},
  onLost: () => process.exit(0),
  onReport: (vm, event) => console.log(JSON.stringify({ vm, event })),
};
const attached = await Connection.attach(endpoint, '', [], handler, keys?.value);
if (!attached.ok) {
  console.error(attached.error.reason);
  process.exit(3);
}
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
