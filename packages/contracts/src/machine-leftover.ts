import { z } from 'zod'

/** What a role keeps on its machine without need; it removes this by itself within the hour, or when an operator asks. */
export const MachineLeftover = z.object({
  /** For people: below the role's own folder, or the name of a container or an image. */
  path: z.string(),
  kind: z.enum(['buildpack', 'runtime', 'cache', 'staging', 'container', 'droplet', 'layer', 'image']),
  /** For people. */
  reason: z.string(),
  bytes: z.number().int().nonnegative(),
})
export type MachineLeftover = z.infer<typeof MachineLeftover>
