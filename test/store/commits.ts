import { DatabaseSync } from 'node:sqlite'

// A process that adds 1 to the only row of `counter` for each message, and then sends the new number.
const database = new DatabaseSync(process.argv[2] as string)
const add = database.prepare('update counter set n = n + 1 returning n')
process.on('message', () => process.send?.(add.get()))
