import type { Stack } from '@bloomery/database'
import { presentMetadata } from '../../http/metadata.js'

export const presentStack = (stack: Stack, baseUrl: string) => ({
  guid: stack.guid,
  created_at: stack.createdAt.toISOString(),
  updated_at: stack.updatedAt.toISOString(),
  name: stack.name,
  description: stack.description,
  // Both rows are the same image at build and at run time.
  build_rootfs_image: stack.name,
  run_rootfs_image: stack.name,
  default: stack.isDefault,
  state: stack.state,
  state_reason: stack.stateReason,
  metadata: presentMetadata(stack),
  links: { self: { href: `${baseUrl}/v3/stacks/${stack.guid}` } },
})
