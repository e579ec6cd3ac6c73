/** What is kept of the past, with Cloud Foundry's numbers where it has any. */
export const KEPT = {
  /** With bits, of each app, besides those of its current droplet. */
  packages: 5,
  /** With bits, of each app, besides those that run or may be turned back to. */
  droplets: 5,
  builds: 100,
  deployments: 100,
  auditEventDays: 31,
  jobDays: 31,
  /** Files for resource matching that no push has named for this long. */
  pooledFileDays: 90,
  /** A blob may be written before its row: only older ones without a row are nobody's. */
  ownerlessBlobHours: 24,
} as const
