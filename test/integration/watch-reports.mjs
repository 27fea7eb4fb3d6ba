// Prints what the VMs of a platform report, one JSON object per line: watch-reports.mjs ENDPOINT
import { Connection } from '@remio/transport';

const attached = await Connection.attach(process.argv[2] ?? '', '', [], {
  onRecords: () => {},
  onLost: () => process.exit(0),
  onReport: (vm, event) => console.log(JSON.stringify({ vm, event })),
});
if (!attached.ok) {
  console.error(attached.error.reason);
  process.exit(3);
}
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
