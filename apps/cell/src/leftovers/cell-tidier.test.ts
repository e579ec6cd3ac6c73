import type { MachineLeftover } from '@bloomery/contracts'
import { silentLogger } from '@bloomery/telemetry'
import type { Leftover } from '../droplets/droplet-cache.js'
import { CellTidier } from './cell-tidier.js'

describe('what a cell keeps without need', () => {
  let kept: string[]
  let images: string[]
  let told: { leftovers: readonly MachineLeftover[]; tidied: boolean }[]
  let tidier: CellTidier
  const stubborn = 'droplets/stubborn'
  beforeEach(() => {
    kept = ['droplets/a', stubborn]
    images = ['sha256:old']
    told = []
    tidier = new CellTidier({
      droplets: {
        leftovers: async (): Promise<readonly Leftover[]> =>
          kept.map((path) => ({
            path,
            kind: 'droplet',
            reason: 'of a droplet that was deleted',
            bytes: 7,
            remove: async () => {
              if (path === stubborn) throw new Error('the disk says no')
              kept = kept.filter((each) => each !== path)
            },
          })),
      },
      engine: {
        unusedImages: async () => images.map((id) => ({ id, bytes: 9 })),
        removeUnusedImage: async (id) => void (images = images.filter((each) => each !== id)),
      },
      scheduler: {
        deletedDroplets: async () => new Set(),
        tellLeftovers: async (leftovers, tidied) => void told.push({ leftovers, tidied }),
      },
      log: silentLogger,
    })
  })
  const paths = () => told.map(({ leftovers, tidied }) => [leftovers.map(({ path }) => path), tidied])

  it('is told when it has changed, and stays', async () => {
    await tidier.tell()
    await tidier.tell()
    expect(paths()).toEqual([[['droplets/a', stubborn, 'sha256:old'], false]])
    expect(told[0]?.leftovers[2]).toEqual({
      path: 'sha256:old',
      kind: 'image',
      reason: expect.stringContaining('newer'),
      bytes: 9,
    })
    kept.push('droplets/b')
    await tidier.tell()
    expect(paths()[1]).toEqual([['droplets/a', stubborn, 'droplets/b', 'sha256:old'], false])
  })

  it('goes when that is asked for, once however often; what could not be removed is told of again', async () => {
    await Promise.all([tidier.tidy(), tidier.tidy(), tidier.tidy()])
    expect(paths()).toEqual([[[stubborn], true]])
    expect([kept, images]).toEqual([[stubborn], []])
    await tidier.tidy()
    expect(paths()).toHaveLength(2)
  })

  it('an engine that is away hides no droplets', async () => {
    images = []
    const away = new CellTidier({
      droplets: {
        leftovers: async () => [{ path: 'droplets/a', kind: 'droplet', reason: 'r', bytes: 1, remove: async () => undefined }],
      },
      engine: { unusedImages: () => Promise.reject(new Error('away')), removeUnusedImage: async () => undefined },
      scheduler: {
        deletedDroplets: async () => new Set(),
        tellLeftovers: async (leftovers, tidied) => void told.push({ leftovers, tidied }),
      },
      log: silentLogger,
    })
    await away.tell()
    expect(paths()).toEqual([[['droplets/a'], false]])
  })
})
