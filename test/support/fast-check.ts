import fc from 'fast-check';

// A failed property says of which error it died; the error's cause alone is lost in reports.
fc.configureGlobal({ includeErrorInReport: true });

export default fc;
