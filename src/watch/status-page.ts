export const STATUS_PAGE = '<!doctype html><title>storage-sync</title>';
export const STATUS_PAGE_CSP = "default-src 'none'";
