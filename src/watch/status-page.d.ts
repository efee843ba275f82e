/** The status page: a document with its style and script in it, which asks for nothing but the watch's endpoints. */
export declare const STATUS_PAGE: string;

/** The Content-Security-Policy to serve it under. It allows that one script and that one style. */
export declare const STATUS_PAGE_CSP: string;
