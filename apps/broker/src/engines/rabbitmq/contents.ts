import { readFile, rename, writeFile } from 'node:fs/promises'
import { z } from 'zod'
import { ServiceFault } from '../engine.js'
import type { Management } from './management.js'

/** More than this is drained by its consumers, not copied. */
const MOST_MESSAGES = 100_000
const PIECE = 1_000

const Message = z.object({ payload: z.string(), payload_encoding: z.string(), properties: z.unknown() })
const Contents = z.object({
  definitions: z.record(z.string(), z.unknown()),
  queues: z.array(z.object({ name: z.string(), messages: z.array(Message) })),
})
type Contents = z.output<typeof Contents>

interface Queue {
  readonly name: string
  readonly type?: string
  readonly messages?: number
}

/** Everything of a virtual host, as it is: definitions and, of each queue, the messages in their order, which stay where they are. */
export async function readContents(server: Management, vhost: string): Promise<Contents> {
  const definitions = await server.get<Record<string, unknown>>(`/definitions/${vhost}`)
  const queues: Contents['queues'] = []
  let total = 0
  for (const { name, type } of await server.get<Queue[]>(`/queues/${vhost}`)) {
    if (type === 'stream')
      throw new ServiceFault(`The queue ${name} is a stream, which can be neither copied nor backed up. Delete it first.`)
    // One more than may be: what is asked for at once is given back at once.
    const count = MOST_MESSAGES - total + 1
    const messages = z.array(Message).parse(
      await server.post(`/queues/${vhost}/${encodeURIComponent(name)}/get`, {
        count,
        ackmode: 'ack_requeue_true',
        encoding: 'base64',
      }),
    )
    total += messages.length
    if (total > MOST_MESSAGES)
      throw new ServiceFault(`There are more than ${MOST_MESSAGES} messages in the queues. Let their consumers take some first.`)
    queues.push({
      name,
      messages: messages.map(({ payload, payload_encoding, properties }) => ({ payload, payload_encoding, properties })),
    })
  }
  return { definitions, queues }
}

/** Into a virtual host that is there and empty. */
export async function writeContents(
  server: Management,
  vhost: string,
  { definitions, queues }: Contents,
  signal: AbortSignal,
): Promise<void> {
  await server.post(`/definitions/${vhost}`, definitions)
  for (const { name, messages } of queues)
    for (let at = 0; at < messages.length; at += PIECE) {
      signal.throwIfAborted()
      for (const { payload, payload_encoding, properties } of messages.slice(at, at + PIECE)) {
        const sent = { properties, routing_key: name, payload, payload_encoding }
        const { routed } = await server.post<{ routed: boolean }>(`/exchanges/${vhost}/amq.default/publish`, sent)
        if (!routed) throw new Error(`a message did not arrive in the queue ${name}`)
      }
    }
}

export async function saveContents(contents: Contents, file: string): Promise<void> {
  await writeFile(`${file}.new`, JSON.stringify(contents), { mode: 0o600 })
  await rename(`${file}.new`, file)
}

export async function loadContents(file: string): Promise<Contents> {
  return Contents.parse(JSON.parse(await readFile(file, 'utf8')))
}

/** How many messages each queue holds: what a copy must agree with. */
export const countsOf = ({ queues }: Contents): [string, number][] =>
  queues.map(({ name, messages }): [string, number] => [name, messages.length]).sort(([a], [b]) => a.localeCompare(b))
