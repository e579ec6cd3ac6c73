import type Docker from 'dockerode'
import type { UnusedImage } from '../engine.js'
import { isConflict, isNotFound } from './errors.js'

/** The stack's build puts it onto each image that it makes. */
export const STACK_LABEL = 'bloomery.stack.digest'
/** A build gives the image its name last. */
const YOUNG_SECONDS = 3_600
const NAMELESS = '<none>'

export interface OurImages {
  readonly label: string
  /** The one that containers are made of from now on. */
  readonly inUse: string | undefined
}

/**
 * Images of a stack that a newer one has taken the name of, and that no container is made of any more, be it ours or another installation's: hence the
 * one list of containers without our own label. Images without Bloomery's label are not looked at.
 */
export async function listUnusedImages(docker: Docker, { label, inUse }: OurImages): Promise<readonly UnusedImage[]> {
  const images = await docker.listImages({ filters: { dangling: ['true'], label: [label] } })
  const kept = inUse === undefined ? undefined : await idOf(docker, inUse)
  const unused: UnusedImage[] = []
  for (const { Id: id, Size: bytes, Created, RepoTags, RepoDigests } of images) {
    const isNamed = [...(RepoTags ?? []), ...(RepoDigests ?? [])].some((name) => !name.startsWith(NAMELESS))
    if (isNamed || id === kept || Date.now() / 1000 - Created < YOUNG_SECONDS) continue
    const containers = await docker.listContainers({ all: true, filters: { ancestor: [id] } })
    if (containers.length === 0) unused.push({ id, bytes })
  }
  return unused
}

/** Without force: the engine itself keeps what something was made of meanwhile. */
export async function removeUnusedImage(docker: Docker, id: string, ours: OurImages): Promise<void> {
  const unused = await listUnusedImages(docker, ours)
  if (!unused.some((image) => image.id === id)) return
  await docker
    .getImage(id)
    .remove()
    .catch((error: unknown) => {
      if (!isNotFound(error) && !isConflict(error)) throw error
    })
}

const idOf = (docker: Docker, name: string): Promise<string | undefined> =>
  docker
    .getImage(name)
    .inspect()
    .then(
      ({ Id }) => Id,
      (error: unknown) => {
        if (isNotFound(error)) return undefined
        throw error
      },
    )
