import type { BuildOptions } from 'esbuild'

/** What differs between the programs of tests. */
type TestPrograms = Pick<
  BuildOptions,
  'entryPoints' | 'stdin' | 'outdir' | 'outfile' | 'format' | 'splitting' | 'banner' | 'external'
> & {
  /** What npm has installed is imported as it is, for which the programs must lie below node_modules. @default false */
  readonly npmStaysOutside?: boolean
}

/** Makes programs of the workspace's sources, as a build does: for tests that start processes of their own. */
export async function bundlePrograms({ npmStaysOutside = false, ...options }: TestPrograms): Promise<void> {
  // Few tests need it.
  const { build } = await import('esbuild')
  await build({
    format: 'esm',
    ...options,
    bundle: true,
    platform: 'node',
    target: 'node20',
    conditions: ['@bloomery/source'],
    logLevel: 'error',
    ...(npmStaysOutside
      ? {
          plugins: [
            {
              name: 'npm-stays-outside',
              setup: ({ onResolve }) =>
                onResolve({ filter: /^[^./]/ }, ({ path }) =>
                  path.startsWith('@bloomery/') ? undefined : { path, external: true },
                ),
            },
          ],
        }
      : {}),
  })
}
