import { z } from 'zod'

/** What a worker says of itself over its control socket. */
export const WorkerStatus = z.object({
  slot: z.string(),
  generation: z.string(),
  pid: z.number().int(),
  listeners: z.object({
    bind: z.string(),
    httpPort: z.number(),
    httpsPort: z.number(),
    /** Ranges for TCP routes, as they were configured. */
    tcpPorts: z.string().default(''),
  }),
  routes: z.number().int(),
  feedCurrent: z.boolean(),
})
export type WorkerStatus = z.infer<typeof WorkerStatus>
